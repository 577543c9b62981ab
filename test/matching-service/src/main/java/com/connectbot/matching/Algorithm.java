package com.connectbot.matching;

import java.util.Arrays;
import java.util.Objects;
import java.util.function.BiPredicate;
import org.springframework.http.HttpStatus;
import org.springframework.web.server.ResponseStatusException;

/** Says whom an employee would rather meet. */
enum Algorithm {
  SIMPLE_RANDOM((one, other) -> true),
  INTEREST_BASED((one, other) -> one.interests() != null && one.interests().stream().anyMatch(other::likes)),
  CROSS_DEPARTMENT((one, other) -> !Objects.equals(one.department(), other.department()));

  final BiPredicate<Employee, Employee> prefers;

  Algorithm(BiPredicate<Employee, Employee> prefers) {
    this.prefers = prefers;
  }

  /** The algorithm of this name, which may be null. */
  static Algorithm named(Object name) {
    if (name == null) {
      return SIMPLE_RANDOM;
    }
    return Arrays.stream(values()).filter(algorithm -> algorithm.name().equals(name)).findFirst().orElseThrow(
        () -> new ResponseStatusException(HttpStatus.BAD_REQUEST, "Unknown algorithm: " + name));
  }
}
