package com.connectbot.matching;

import java.util.List;

/** What the secret coffee calls answer. */
record MatchingResponse(
    String requestId, String status, String error, Algorithm algorithm, List<Pair> pairs, Meta meta) {

  record Pair(Employee employee1, Employee employee2) {}

  static MatchingResponse of(String requestId, Matching matching, Algorithm algorithm) {
    return new MatchingResponse(requestId, "ok", null, algorithm,
        matching.couples().stream().map(couple -> new Pair(couple.one(), couple.other())).toList(),
        Meta.of(matching, algorithm));
  }

  static MatchingResponse failed(String requestId, String error) {
    return new MatchingResponse(requestId, "error", error, null, List.of(), null);
  }
}
