package com.connectbot.matching;

import com.connectbot.matching.faults.Switches;
import org.springframework.boot.actuate.health.Health;
import org.springframework.boot.actuate.health.HealthIndicator;
import org.springframework.stereotype.Component;

/** What /actuator/health goes by. */
@Component
class MatchingHealthIndicator implements HealthIndicator {
  private final Switches switches;

  MatchingHealthIndicator(Switches switches) {
    this.switches = switches;
  }

  @Override
  public Health health() {
    return switches.settings().down() ? Health.down().build() : Health.up().build();
  }
}
