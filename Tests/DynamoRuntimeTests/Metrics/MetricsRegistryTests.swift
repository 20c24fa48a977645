import DynamoRuntime
import Testing

@Suite("Metrics in Prometheus's text")
struct MetricsRegistryTests {
    @Test("counters and gauges with and without labels; metrics without samples are silent")
    func simple() {
        let registry = MetricsRegistry()
        let requests = registry.counter("requests_total", "Requests")
        let free = registry.gauge("free", "Free")
        _ = registry.counter("silent_total", "Never counted")
        registry.add(1, to: requests, ["model": "a\"\\\nb", "kind": "x"])
        registry.add(2, to: requests, ["kind": "x", "model": "a\"\\\nb"])
        registry.set(free, 0.5)
        #expect(
            registry.text == """
                # HELP requests_total Requests
                # TYPE requests_total counter
                requests_total{kind="x",model="a\\"\\\\\\nb"} 3
                # HELP free Free
                # TYPE free gauge
                free 0.5

                """
        )
    }

    @Test("histograms are cumulative")
    func histogram() {
        let registry = MetricsRegistry()
        let duration = registry.histogram("d", "D", buckets: [0.5, 1])
        for value in [0.25, 0.5, 0.75, 4] { registry.observe(value, in: duration, ["m": "x"]) }
        registry.set(duration, cumulative: [1, 1, 3], sum: 2, ["m": "y"])
        #expect(
            registry.text == """
                # HELP d D
                # TYPE d histogram
                d_bucket{m="x",le="0.5"} 2
                d_bucket{m="x",le="1"} 3
                d_bucket{m="x",le="+Inf"} 4
                d_sum{m="x"} 5.5
                d_count{m="x"} 4
                d_bucket{m="y",le="0.5"} 1
                d_bucket{m="y",le="1"} 1
                d_bucket{m="y",le="+Inf"} 3
                d_sum{m="y"} 2
                d_count{m="y"} 3

                """
        )
    }

    @Test("replacing drops the samples that are gone")
    func replace() {
        let registry = MetricsRegistry()
        let gauge = registry.gauge("g", "G")
        registry.set(gauge, 1, ["m": "old"])
        registry.replace(gauge, [["m": "new"]: 2])
        #expect(registry.text == "# HELP g G\n# TYPE g gauge\ng{m=\"new\"} 2\n")
    }
}
