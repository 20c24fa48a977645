import CNATS
import Glibc

/// The functions that libnats calls.
///
/// Each finds its receiver by number and passes Swift values on.
enum Callbacks {
    static var attach: natsEvLoop_Attach {
        { userData, loop, _, socket in
            guard let events = NativeRegistry.events(loop) else { return NATS_CONNECTION_CLOSED }
            // What the other event-loop callbacks get.
            userData?.pointee = loop
            return events.socketAttached(socket) ? NATS_OK : NATS_SYS_ERROR
        }
    }

    static var readInterest: natsEvLoop_ReadAddRemove {
        { userData, isWanted in
            // libnats only ever takes it back: attaching means that it is wanted.
            if !isWanted { NativeRegistry.events(userData)?.socketDetached() }
            return NATS_OK
        }
    }

    static var writeInterest: natsEvLoop_WriteAddRemove {
        { userData, isWanted in
            NativeRegistry.events(userData)?.writeWanted(isWanted)
            return NATS_OK
        }
    }

    static var detach: natsEvLoop_Detach {
        { userData in
            NativeRegistry.events(userData)?.socketDetached()
            return NATS_OK
        }
    }

    // The subscription is not looked at: it may be gone when this is called.
    static var error: natsErrHandler {
        { _, _, status, closure in
            guard let events = NativeRegistry.events(closure) else { return }
            events.asynchronousError(NativeStatus(status), NativeStatus.lastErrorText)
        }
    }

    static var reply: natsMsgHandler {
        { _, _, message, closure in
            guard let message else { return }
            let isNoResponders = natsMsg_IsNoResponders(message)
            let taken = NativeMessage.take(message)
            NativeRegistry.events(closure)?.replyArrived(taken, isNoResponders: isNoResponders)
        }
    }

    /// The user's JWT, in memory from `malloc`, which libnats frees.
    static var token: natsUserJWTHandler {
        { text, _, closure in
            guard let token = NativeRegistry.events(closure)?.token, let copy = strdup(token) else { return NATS_ERR }
            text?.pointee = copy
            return NATS_OK
        }
    }

    /// Signs with memory from `malloc`, which libnats frees.
    static var sign: natsSignatureHandler {
        { _, signature, length, nonce, closure in
            guard let events = NativeRegistry.events(closure), let nonce,
                let bytes = events.signature(of: Array(UnsafeRawBufferPointer(start: nonce, count: strlen(nonce)))),
                let memory = malloc(bytes.count)
            else { return NATS_ERR }
            memory.copyMemory(from: bytes, byteCount: bytes.count)
            signature?.pointee = memory.assumingMemoryBound(to: UInt8.self)
            length?.pointee = Int32(bytes.count)
            return NATS_OK
        }
    }
}
