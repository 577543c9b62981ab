package com.connectbot.matching;

import com.connectbot.matching.faults.Switches;
import java.util.Map;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

@RestController
class HealthController {
  private final Switches switches;

  HealthController(Switches switches) {
    this.switches = switches;
  }

  @GetMapping("/api/v1/matching/health")
  ResponseEntity<Map<String, String>> health() {
    if (switches.settings().dataSourceDown()) {
      return ResponseEntity.status(HttpStatus.SERVICE_UNAVAILABLE).body(Map.of("status", "DEGRADED"));
    }
    return ResponseEntity.ok(Map.of("status", "OK"));
  }
}
