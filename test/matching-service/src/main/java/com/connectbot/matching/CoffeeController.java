package com.connectbot.matching;

import com.connectbot.matching.faults.Switches;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.function.BiPredicate;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

@RestController
@RequestMapping("/api/matching")
class CoffeeController {
  private final Switches switches;

  CoffeeController(Switches switches) {
    this.switches = switches;
  }

  @GetMapping("/algorithms")
  Map<String, Object> algorithms() {
    return Map.of("algorithms", Algorithm.values(), "total", Algorithm.values().length);
  }

  @PostMapping("/coffee/simple")
  Object simple(@RequestBody List<Employee> employees) {
    return match(employees, Algorithm.SIMPLE_RANDOM, Algorithm.SIMPLE_RANDOM.prefers);
  }

  @PostMapping("/coffee/interest")
  Object interest(@RequestBody List<Employee> employees, @RequestParam String interest) {
    return match(employees, Algorithm.INTEREST_BASED,
        (one, other) -> one.likes(interest) == other.likes(interest));
  }

  private Object match(List<Employee> employees, Algorithm algorithm, BiPredicate<Employee, Employee> prefers) {
    List<Employee> people = employees.stream().map(employee -> employee.activeOr(true)).toList();
    Matching matching = Matching.of(people, prefers);
    if (switches.settings().flat()) {
      return FlatResult.of(UUID.randomUUID().toString(), matching, algorithm);
    }
    return MatchingResult.of(matching, algorithm);
  }
}
