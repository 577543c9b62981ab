package com.connectbot.matching.faults;

import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.springframework.core.annotation.Order;
import org.springframework.stereotype.Component;
import org.springframework.web.filter.OncePerRequestFilter;

/** Demands the token and leaves out calls, where a deployment does so. */
@Component
@Order(3)
class DeploymentFilter extends OncePerRequestFilter {
  private final Switches switches;

  DeploymentFilter(Switches switches) {
    this.switches = switches;
  }

  @Override
  protected boolean shouldNotFilter(HttpServletRequest request) {
    return !request.getRequestURI().startsWith("/api/");
  }

  @Override
  protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
      throws ServletException, IOException {
    Settings settings = switches.settings();
    String path = request.getRequestURI();
    if (settings.token() != null && !("Service " + settings.token()).equals(request.getHeader("Authorization"))) {
      response.sendError(HttpServletResponse.SC_UNAUTHORIZED);
    } else if (settings.notDeployed()
        && (path.startsWith("/api/matching/tournament/") || path.startsWith("/api/matching/teams/"))) {
      response.sendError(HttpServletResponse.SC_NOT_FOUND);
    } else {
      chain.doFilter(request, response);
    }
  }
}
