package com.connectbot.matching;

import com.connectbot.matching.faults.Switches;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;

@RestController
@RequestMapping("/api/v1/matching/match/secret-coffee")
class SecretCoffeeController {
  private final Switches switches;
  private final DataSource dataSource;

  SecretCoffeeController(Switches switches, DataSource dataSource) {
    this.switches = switches;
    this.dataSource = dataSource;
  }

  record SecretCoffee(String requestId, Map<String, Object> algorithmParams, List<Employee> employees) {}

  record FromApi(
      String requestId,
      @JsonProperty("algorithm_type") String algorithm,
      @JsonProperty("department_ids") List<String> departments,
      @JsonProperty("business_center") String businessCenter) {}

  @PostMapping
  ResponseEntity<Object> given(@RequestBody SecretCoffee request) {
    if (request.employees == null || request.employees.isEmpty()) {
      return ResponseEntity.badRequest().build();
    }
    String id = idOr(request.requestId);
    if (!dataSource.answers()) {
      return ResponseEntity.ok(MatchingResponse.failed(id, "data_api_failed"));
    }
    Object algorithm = request.algorithmParams == null ? null : request.algorithmParams.get("algorithm");
    return ResponseEntity.ok(match(id, Algorithm.named(algorithm), request.employees));
  }

  @PostMapping("/from-api")
  Object found(@RequestBody FromApi request) {
    String id = idOr(request.requestId);
    if (!dataSource.answers()) {
      return MatchingResponse.failed(id, "data_api_failed");
    }
    List<Employee> employees = dataSource.employees(request.departments, request.businessCenter);
    if (employees.isEmpty()) {
      return MatchingResponse.failed(id, "no_employees_from_api");
    }
    return match(id, Algorithm.named(request.algorithm), employees);
  }

  private Object match(String id, Algorithm algorithm, List<Employee> employees) {
    List<Employee> people = employees.stream().map(employee -> employee.activeOr(false)).toList();
    Matching matching = Matching.of(people, algorithm.prefers);
    if (switches.settings().flat()) {
      return FlatResult.of(id, matching, algorithm);
    }
    return MatchingResponse.of(id, matching, algorithm);
  }

  private static String idOr(String requestId) {
    return requestId == null ? UUID.randomUUID().toString() : requestId;
  }
}
