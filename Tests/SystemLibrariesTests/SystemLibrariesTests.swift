import CNATS
import CSystemd
import CXXHash
import CZeroMQ
import Testing

/// The C libraries behind the package are installed, found by pkg-config, and linked.
@Suite struct SystemLibrariesTests {
    @Test func `libnats is 3 or newer`() {
        #expect(nats_GetVersionNumber() >= 0x03_00_00)
    }

    @Test func `libzmq is 4_3 or newer`() {
        var (major, minor, patch): (Int32, Int32, Int32) = (0, 0, 0)
        zmq_version(&major, &minor, &patch)
        #expect((major, minor) >= (4, 3))
    }

    @Test func `libxxhash has XXH3`() {
        #expect(XXH_versionNumber() >= 800)
        #expect(XXH3_64bits("", 0) == 0x2D06_8005_38D3_94C2)
    }

    @Test func `libsystemd is linked`() {
        #expect(sd_booted() >= 0)
    }
}
