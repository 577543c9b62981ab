package com.connectbot.matching;

import com.connectbot.matching.faults.Settings;
import com.connectbot.matching.faults.Switches;
import java.util.List;
import java.util.stream.LongStream;
import org.springframework.http.HttpStatusCode;
import org.springframework.stereotype.Component;
import org.springframework.web.server.ResponseStatusException;

/** Where the service finds employees itself: twelve people of the departments 1 to 3 in the business centers A and B. */
@Component
class DataSource {
  private final Switches switches;

  DataSource(Switches switches) {
    this.switches = switches;
  }

  /** Says whether it is alive. When it is dead, the call fails with a status instead, if the switches name one. */
  boolean answers() {
    Settings settings = switches.settings();
    if (settings.dataSourceDown() && settings.dataSourceStatus() != null) {
      throw new ResponseStatusException(
          HttpStatusCode.valueOf(settings.dataSourceStatus()), "The data source does not answer");
    }
    return !settings.dataSourceDown();
  }

  /** The employees of these departments and this business center, null being all. */
  List<Employee> employees(List<String> departments, String businessCenter) {
    if (switches.settings().noEmployees()) {
      return List.of();
    }
    return LongStream.rangeClosed(1, 12).mapToObj(DataSource::employee)
        .filter(employee -> departments == null || departments.contains(employee.department()))
        .filter(employee -> businessCenter == null || businessCenter.equals(employee.businessCode()))
        .toList();
  }

  private static Employee employee(long id) {
    return new Employee(id, "Employee " + id, String.valueOf(id % 3 + 1), "Engineer", id % 2 == 0 ? "A" : "B",
        "E-" + id, null, List.of("chess"), true, Employee.Grade.MIDDLE, null, null);
  }
}
