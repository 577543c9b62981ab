package com.connectbot.matching.faults;

import java.util.Map;
import org.springframework.web.bind.annotation.DeleteMapping;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;

/** What tests ask of the service beside matching. */
@RestController
@RequestMapping("/test")
class TestController {
  private final Switches switches;
  private final Calls calls;

  TestController(Switches switches, Calls calls) {
    this.switches = switches;
    this.calls = calls;
  }

  @GetMapping("/switches")
  Settings switches() {
    return switches.settings();
  }

  @PostMapping("/switches")
  Settings set(@RequestBody Settings settings) {
    switches.set(settings);
    return settings;
  }

  @DeleteMapping("/switches")
  Settings reset() {
    return set(Settings.NONE);
  }

  @GetMapping("/calls")
  Calls.All calls() {
    return calls.all();
  }

  @DeleteMapping("/calls")
  void forget() {
    calls.forget();
  }

  @GetMapping("/process")
  Map<String, Long> process() {
    return Map.of("pid", ProcessHandle.current().pid());
  }

  /** Ends the process at once; nothing is answered and no connection is closed in order. */
  @PostMapping("/crash")
  void crash() {
    Runtime.getRuntime().halt(1);
  }
}
