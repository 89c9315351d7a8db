import Testing

@testable import Console

struct ExpositionTests {
  @Test func aHistogramCountsEachValueInEveryBucketThatHoldsIt() {
    var histogram = Histogram(bounds: [0.5, 1, 5])
    for value in [0.25, 0.5, 0.75, 7] { histogram.observe(value) }
    #expect(histogram.cumulativeCounts == [2, 3, 3])
    #expect(histogram.count == 4)
    #expect(histogram.sum == 8.5)
  }

  @Test func aFamilyHasItsHelpItsTypeAndItsSamples() {
    var text = MetricsText()
    text.add("depth", .gauge, "Requests that wait.", value: 3)
    text.add("ended_total", .counter, "Ended.", samples: [([("how", "well"), ("where", "here")], 1.5)])
    #expect(
      text.text == """
        # HELP depth Requests that wait.
        # TYPE depth gauge
        depth 3
        # HELP ended_total Ended.
        # TYPE ended_total counter
        ended_total{how="well",where="here"} 1.5

        """)
  }

  @Test func aHistogramsFamilyEndsWithItsSumAndCount() {
    var histogram = Histogram(bounds: [0.5, 1])
    histogram.observe(0.75)
    histogram.observe(2)
    var text = MetricsText()
    text.add("wait_seconds", "Waits.", histogram: histogram)
    #expect(
      text.text == """
        # HELP wait_seconds Waits.
        # TYPE wait_seconds histogram
        wait_seconds_bucket{le="0.5"} 0
        wait_seconds_bucket{le="1"} 1
        wait_seconds_bucket{le="+Inf"} 2
        wait_seconds_sum 2.75
        wait_seconds_count 2

        """)
  }

  @Test func whatWouldBreakALineIsEscaped() {
    var text = MetricsText()
    text.add(
      "a", .gauge, "back\\slash, \"quote\"\nand line", samples: [([("l", "back\\slash, \"quote\"\nand line")], 1)])
    #expect(
      text.text == #"""
        # HELP a back\\slash, "quote"\nand line
        # TYPE a gauge
        a{l="back\\slash, \"quote\"\nand line"} 1

        """#)
  }

  @Test(arguments: [
    (0.0, "0"), (12, "12"), (-3, "-3"), (0.1, "0.1"), (1e20, "1e+20"), (.infinity, "+Inf"), (-.infinity, "-Inf"),
    (.nan, "NaN"),
  ])
  func numbersAreWrittenAsTheFormatWants(_ value: Double, _ text: String) {
    #expect(MetricsText.number(value) == text)
  }
}
