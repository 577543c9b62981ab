package com.connectbot.matching;

import com.fasterxml.jackson.annotation.JsonProperty;

record Meta(
    @JsonProperty("unmatched_count") int unmatchedCount,
    @JsonProperty("total_pairs") int totalPairs,
    Algorithm algorithm) {

  static Meta of(Matching matching, Algorithm algorithm) {
    return new Meta(matching.unmatched().size(), matching.couples().size(), algorithm);
  }
}
