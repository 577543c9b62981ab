package com.connectbot.matching;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** What the published contract says that all pairing calls answer. */
record FlatResult(
    @JsonProperty("transaction_id") String transactionId,
    List<Pair> pairs,
    @JsonProperty("unmatched_employees") List<Long> unmatchedEmployees,
    Meta meta) {

  record Pair(@JsonProperty("employee1_id") long employee1Id, @JsonProperty("employee2_id") long employee2Id) {}

  static FlatResult of(String transactionId, Matching matching, Algorithm algorithm) {
    return new FlatResult(transactionId,
        matching.couples().stream().map(couple -> new Pair(couple.one().id(), couple.other().id())).toList(),
        matching.unmatched().stream().map(Employee::id).toList(),
        Meta.of(matching, algorithm));
  }
}
