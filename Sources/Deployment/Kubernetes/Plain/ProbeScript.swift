/// Questions that an HTTP status alone does not answer, as programs for the Python of Dynamo's images; each ends with 0 for yes.
///
/// They ask what the launcher's own probes ask, and say why not on their output, which `kubectl describe pod` shows.
enum ProbeScript: String, Sendable, CaseIterable {
    /// Whether a URL answers with one of the statuses (none: any 2xx) and a text in its body: URL, `200,503`, text.
    case http = """
        from sys import argv, exit
        from urllib.error import HTTPError
        from urllib.request import urlopen
        url, statuses, text = argv[1:4]
        try:
            answer = urlopen(url, timeout=8)
        except HTTPError as error:
            answer = error
        good = [int(s) for s in statuses.split(",") if s]
        if not (answer.status in good if good else 200 <= answer.status < 300):
            exit(f"{url} answers {answer.status}")
        if text and text not in answer.read().decode(errors="replace"):
            exit(f"{url} answers without '{text}'")

        """

    /// Whether a worker names at least one endpoint, and all of them are ready, whatever the status says: URL.
    ///
    /// A mocker answers 503 for as long as it runs (contract `request-plane.md`, section 6.1).
    case systemHealth = """
        from json import loads
        from sys import argv, exit
        from urllib.error import HTTPError
        from urllib.request import urlopen
        try:
            answer = urlopen(argv[1], timeout=8)
        except HTTPError as error:
            answer = error
        endpoints = loads(answer.read()).get("endpoints") or {}
        states = {name: state if isinstance(state, str) else state["status"] for name, state in endpoints.items()}
        waiting = sorted(name for name, state in states.items() if state != "ready")
        if not states or waiting:
            exit("not ready: " + (", ".join(waiting) or "no endpoint is named yet"))

        """

    /// Whether a frontend lists a model: base URL, model (empty: any).
    case modelListed = """
        from json import load
        from sys import argv, exit
        from urllib.request import urlopen
        base, model = argv[1:3]
        with urlopen(base + "/v1/models", timeout=8) as answer:
            names = [entry["id"] for entry in load(answer)["data"]]
        if not (model in names if model else names):
            exit("models listed: " + (", ".join(names) or "none"))

        """

    /// Whether a frontend says that a model can be served; where it has no such route, whether it lists it: base URL, model.
    case modelReady = """
        from json import load
        from sys import argv, exit
        from urllib.error import HTTPError
        from urllib.parse import quote
        from urllib.request import urlopen
        base, model = argv[1:3]
        with urlopen(base + "/v1/models", timeout=8) as answer:
            names = [entry["id"] for entry in load(answer)["data"]]
        if not (model in names if model else names):
            exit("models listed: " + (", ".join(names) or "none"))
        try:
            urlopen(f"{base}/v1/models/{quote(model or names[0], safe='')}/ready", timeout=8)
        except HTTPError as error:
            if error.code not in (404, 405):
                exit(f"the frontend says {error.code} {error.read().decode(errors='replace')[:300]}")

        """

    /// Waits until servers accept connections and names stand for enough addresses: `tcp:host:port,host:port`, `name:host:2`.
    case wait = """
        from socket import create_connection, getaddrinfo
        from sys import argv
        from time import sleep

        def connects(places):
            for place in places.split(","):
                host, port = place.rsplit(":", 1)
                try:
                    create_connection((host.strip("[]"), int(port)), 3).close()
                    return True
                except OSError as error:
                    print(f"waiting for {place}: {error}", flush=True)
            return False

        def resolves(place):
            name, count = place.rsplit(":", 1)
            try:
                found = len({entry[4][0] for entry in getaddrinfo(name, None)})
            except OSError:
                found = 0
            if found < int(count):
                print(f"waiting for {name}: {found} of {count} are ready", flush=True)
            return found >= int(count)

        for target in argv[1:]:
            kind, place = target.split(":", 1)
            while not (connects if kind == "tcp" else resolves)(place):
                sleep(1)

        """
}
