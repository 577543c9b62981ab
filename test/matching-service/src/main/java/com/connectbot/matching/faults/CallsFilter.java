package com.connectbot.matching.faults;

import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.springframework.core.annotation.Order;
import org.springframework.stereotype.Component;
import org.springframework.web.filter.OncePerRequestFilter;

/** Counts each request before anything can happen to it. */
@Component
@Order(1)
class CallsFilter extends OncePerRequestFilter {
  private final Calls calls;

  CallsFilter(Calls calls) {
    this.calls = calls;
  }

  @Override
  protected boolean shouldNotFilter(HttpServletRequest request) {
    return request.getRequestURI().startsWith("/test/");
  }

  @Override
  protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
      throws ServletException, IOException {
    calls.arrived(request);
    try {
      chain.doFilter(request, response);
    } finally {
      calls.ended();
    }
  }
}
