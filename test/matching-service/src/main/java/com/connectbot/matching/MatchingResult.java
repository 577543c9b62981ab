package com.connectbot.matching;

import java.util.List;

/** What the coffee calls answer. */
record MatchingResult(
    List<Pair> pairs,
    List<Employee> unmatched,
    Algorithm algorithm,
    Meta meta,
    int totalPairs,
    double successRate,
    int matchedCount,
    boolean successful) {

  record Pair(Employee employee1, Employee employee2, boolean valid) {}

  static MatchingResult of(Matching matching, Algorithm algorithm) {
    int total = matching.couples().size();
    int people = 2 * total + matching.unmatched().size();
    return new MatchingResult(
        matching.couples().stream().map(couple -> new Pair(couple.one(), couple.other(), true)).toList(),
        matching.unmatched(), algorithm, Meta.of(matching, algorithm),
        total, people == 0 ? 0 : 2.0 * total / people, 2 * total, total > 0);
  }
}
