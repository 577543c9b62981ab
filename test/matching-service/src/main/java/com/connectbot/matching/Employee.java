package com.connectbot.matching;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;

/** An employee as callers send one. activeEmployee may be missing, and then means another thing in each call. */
record Employee(
    long id,
    String displayName,
    String department,
    String position,
    String businessCode,
    String employeeNumber,
    String username,
    List<String> interests,
    Boolean activeEmployee,
    Grade grade,
    @JsonProperty("excluded_partners") List<Long> excludedPartners,
    Preferences preferences) {

  enum Grade { JUNIOR, MIDDLE, SENIOR, LEAD }

  record Preferences(@JsonProperty("with_newcomers") boolean withNewcomers) {}

  /** The same employee, whose missing activeEmployee has become the default that a primitive boolean has. */
  Employee activeOr(boolean missing) {
    return new Employee(id, displayName, department, position, businessCode, employeeNumber, username, interests,
        activeEmployee == null ? missing : activeEmployee, grade, excludedPartners, preferences);
  }

  boolean likes(String interest) {
    return interests != null && interests.contains(interest);
  }

  boolean excludes(Employee other) {
    return excludedPartners != null && excludedPartners.contains(other.id);
  }
}
