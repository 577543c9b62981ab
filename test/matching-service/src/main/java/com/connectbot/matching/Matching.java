package com.connectbot.matching;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.BiPredicate;

/** Who meets whom. It is made at random, so that the same request gives another result every time. */
record Matching(List<Couple> couples, List<Employee> unmatched) {

  record Couple(Employee one, Employee other) {}

  /**
   * Takes one after the other and gives each the first preferred partner of those left, or else the first allowed one.
   * Being greedy, it may leave people over who could have been matched. Who is not active meets nobody.
   */
  static Matching of(List<Employee> employees, BiPredicate<Employee, Employee> prefers) {
    List<Couple> couples = new ArrayList<>();
    List<Employee> unmatched = new ArrayList<>();
    List<Employee> left = new ArrayList<>();
    for (Employee employee : employees) {
      (employee.activeEmployee() ? left : unmatched).add(employee);
    }
    Collections.shuffle(left);
    while (!left.isEmpty()) {
      Employee one = left.remove(left.size() - 1);
      int at = partner(one, left, prefers);
      if (at < 0) {
        unmatched.add(one);
      } else {
        couples.add(new Couple(one, left.remove(at)));
      }
    }
    return new Matching(couples, unmatched);
  }

  private static int partner(Employee one, List<Employee> left, BiPredicate<Employee, Employee> prefers) {
    int allowed = -1;
    for (int i = left.size() - 1; i >= 0; i--) {
      Employee other = left.get(i);
      if (one.excludes(other) || other.excludes(one)) {
        continue;
      }
      if (prefers.test(one, other)) {
        return i;
      }
      if (allowed < 0) {
        allowed = i;
      }
    }
    return allowed;
  }
}
