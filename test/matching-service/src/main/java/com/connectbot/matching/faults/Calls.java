package com.connectbot.matching.faults;

import jakarta.servlet.http.HttpServletRequest;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.springframework.stereotype.Component;

/** Counts the requests that arrived. */
@Component
class Calls {
  private Map<String, Path> paths = new TreeMap<>();
  private Set<Integer> connections = new HashSet<>();
  private int underWay;
  private int mostAtOnce;

  /**
   * The requests to one path, and what the last of them brought along.
   *
   * @param authorized whether it had a header Authorization, right or wrong
   */
  record Path(int count, String method, String requestId, String traceparent, boolean authorized) {}

  /**
   * All requests.
   *
   * @param connections on how many connections they came
   * @param underWay    how many are under way now
   * @param mostAtOnce  how many were under way at the same time
   */
  record All(Map<String, Path> paths, int connections, int underWay, int mostAtOnce) {}

  synchronized void arrived(HttpServletRequest request) {
    Path before = paths.get(request.getRequestURI());
    paths.put(request.getRequestURI(), new Path(
        before == null ? 1 : before.count + 1,
        request.getMethod(),
        request.getHeader("X-Request-ID"),
        request.getHeader("traceparent"),
        request.getHeader("Authorization") != null));
    connections.add(request.getRemotePort());
    underWay++;
    mostAtOnce = Math.max(mostAtOnce, underWay);
  }

  synchronized void ended() {
    underWay--;
  }

  synchronized All all() {
    return new All(new TreeMap<>(paths), connections.size(), underWay, mostAtOnce);
  }

  /** Forgets all but what is still under way. */
  synchronized void forget() {
    paths = new TreeMap<>();
    connections = new HashSet<>();
    mostAtOnce = underWay;
  }
}
