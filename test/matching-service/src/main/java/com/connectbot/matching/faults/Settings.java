package com.connectbot.matching.faults;

import java.util.Map;

/**
 * The switches.
 *
 * @param faults           what requests meet, by path
 * @param flat             pairs are answered flat, as the published contract says
 * @param dataSourceDown   the data source is dead: the health is DEGRADED, and calls that need it fail
 * @param dataSourceStatus how they fail, such as 502; null: with a 200 whose status is "error"
 * @param noEmployees      the data source finds nobody
 * @param down             the actuator says DOWN
 * @param notDeployed      this deployment has no tournaments and no teams
 * @param token            what callers must send as "Authorization: Service TOKEN", null for nothing
 */
public record Settings(
    Map<String, Fault> faults,
    boolean flat,
    boolean dataSourceDown,
    Integer dataSourceStatus,
    boolean noEmployees,
    boolean down,
    boolean notDeployed,
    String token) {

  static final Settings NONE = new Settings(null, false, false, null, false, false, false, null);

  public Settings {
    faults = faults == null ? Map.of() : faults;
  }
}
