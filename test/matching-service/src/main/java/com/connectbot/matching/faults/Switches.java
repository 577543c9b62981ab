package com.connectbot.matching.faults;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.stereotype.Component;

/** What a test wants to go wrong. Setting it replaces all that was set before, and ends every delay under way. */
@Component
public class Switches {
  private volatile State state = new State(Settings.NONE);

  /** A setting of the switches with what has come of it so far. */
  private static final class State {
    final Settings settings;
    final Map<String, AtomicInteger> met = new ConcurrentHashMap<>();
    final CountDownLatch replaced = new CountDownLatch(1);

    State(Settings settings) {
      this.settings = settings;
    }
  }

  public Settings settings() {
    return state.settings;
  }

  void set(Settings settings) {
    State before = state;
    state = new State(settings);
    before.replaced.countDown();
  }

  /** The fault that a request to this path meets, after its delay; null if there is none. */
  Fault meet(String path) throws InterruptedException {
    State now = state;
    Fault fault = now.settings.faults().get(path);
    if (fault == null) {
      return null;
    }
    int met = now.met.computeIfAbsent(path, p -> new AtomicInteger()).incrementAndGet();
    if (fault.times() > 0 && met > fault.times()) {
      return null;
    }
    now.replaced.await(fault.delay(), TimeUnit.MILLISECONDS);
    return fault;
  }
}
