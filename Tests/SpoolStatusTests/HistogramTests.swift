import Testing

@testable import SpoolStatus

/// Durations by size, and the percentiles that are computed of them.
@Suite struct HistogramTests {
    @Test func boundsRiseAndAreWrittenShort() {
        #expect(Histogram.bounds == Histogram.bounds.sorted() && Set(Histogram.bounds).count == Histogram.bounds.count)
        #expect(Histogram.bounds.prefix(6) == [0.0001, 0.00016, 0.00025, 0.0004, 0.00063, 0.001])
        #expect(Histogram.bounds.suffix(3) == [400, 630, 1_000])
    }

    @Test func aValueOnABoundBelongsBelowIt() {
        var histogram = Histogram()
        histogram.observe(0.0001)
        histogram.observe(0.00011)
        #expect(histogram.counts[0] == 1 && histogram.counts[1] == 1 && histogram.count == 2)
    }

    @Test func whatIsBeyondTheLastBoundCountsAndHasNoPercentile() {
        var histogram = Histogram()
        histogram.observe(5_000)
        #expect(histogram.counts.allSatisfy { $0 == 0 } && histogram.count == 1 && histogram.quantile(0.5) == nil)
    }

    @Test func lessThanNothingIsNothing() {
        var histogram = Histogram()
        histogram.observe(-3)
        #expect(histogram.sum == 0 && histogram.counts[0] == 1)
    }

    /// Against the exact percentile of the same values.
    @Test(arguments: [0.5, 0.9, 0.99, 0.999]) func aPercentileIsRightToWithinItsBucket(_ share: Double) throws {
        var histogram = Histogram()
        var values: [Double] = []
        var state: UInt64 = 7
        for _ in 0..<20_000 {
            state = state &* 6_364_136_223_846_793_005 &+ 1
            let uniform = Double(state >> 11) / Double(1 << 53)
            let value = 0.002 + uniform * uniform * uniform * 3
            values.append(value)
            histogram.observe(value)
        }
        values.sort()
        let exact = values[Int(share * Double(values.count))]
        let found = try #require(histogram.quantile(share))
        #expect(abs(found - exact) <= 0.6 * exact && abs(histogram.sum - values.reduce(0, +)) < 1e-6 * histogram.sum)
    }

    @Test func countsAddUp() {
        var one = Histogram()
        var other = Histogram()
        one.observe(0.01, times: 3)
        other.observe(0.01, times: 4)
        other.observe(9_999)
        let both = one + other
        #expect(both.count == 8 && both.quantile(0.5).map { $0 <= 0.01 && $0 > 0.006 } == true)
    }

    @Test func asPrometheusReadsIt() {
        var histogram = Histogram()
        histogram.observe(0.2, times: 2)
        histogram.observe(2_000)
        var text = MetricsText()
        text.add("x_seconds", "Help.", [("table", "a\"b\\c\n")], histogram)
        let lines = text.text.split(separator: "\n")
        #expect(lines[0] == "# HELP x_seconds Help." && lines[1] == "# TYPE x_seconds histogram")
        #expect(lines.contains(#"x_seconds_bucket{table="a\"b\\c\n",le="0.16"} 0"#))
        #expect(lines.contains(#"x_seconds_bucket{table="a\"b\\c\n",le="0.25"} 2"#))
        #expect(lines.contains(#"x_seconds_bucket{table="a\"b\\c\n",le="+Inf"} 3"#))
        #expect(lines.suffix(2) == [#"x_seconds_sum{table="a\"b\\c\n"} 2000.4"#, #"x_seconds_count{table="a\"b\\c\n"} 3"#])
    }
}
