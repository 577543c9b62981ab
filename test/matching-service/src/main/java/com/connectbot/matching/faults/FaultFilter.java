package com.connectbot.matching.faults;

import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletOutputStream;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.springframework.core.annotation.Order;
import org.springframework.stereotype.Component;
import org.springframework.web.filter.OncePerRequestFilter;
import org.springframework.web.util.ContentCachingResponseWrapper;

/** Lets requests meet the faults that were set for their path. */
@Component
@Order(2)
class FaultFilter extends OncePerRequestFilter {
  private static final int MEBIBYTE = 1 << 20;

  private final Switches switches;

  FaultFilter(Switches switches) {
    this.switches = switches;
  }

  @Override
  protected boolean shouldNotFilter(HttpServletRequest request) {
    return request.getRequestURI().startsWith("/test/");
  }

  @Override
  protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
      throws ServletException, IOException {
    Fault fault;
    try {
      fault = switches.meet(request.getRequestURI());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException(e);
    }
    if (fault == null || fault.answer() == null) {
      chain.doFilter(request, response);
      return;
    }
    switch (fault.answer()) {
      case ERROR -> response.sendError(fault.status(), fault.message());
      case EMPTY -> response.setStatus(fault.status());
      case HTML -> html(response, fault.status());
      case REDIRECT -> {
        response.setStatus(fault.status());
        response.setHeader("Location", fault.location());
      }
      case CUT -> half(request, response, chain, true);
      case MALFORMED -> half(request, response, chain, false);
      case LARGE -> large(response, fault.mebibytes());
    }
  }

  private static void html(HttpServletResponse response, int status) throws IOException {
    response.setStatus(status);
    response.setContentType("text/html;charset=UTF-8");
    response.getWriter().printf("<html><head><title>%1$d</title></head><body><h1>%1$d</h1></body></html>%n", status);
  }

  /** The connection closes when the declared length is not reached, as it was announced to. */
  private static void half(HttpServletRequest request, HttpServletResponse response, FilterChain chain, boolean cut)
      throws ServletException, IOException {
    ContentCachingResponseWrapper real = new ContentCachingResponseWrapper(response);
    chain.doFilter(request, real);
    byte[] whole = real.getContentAsByteArray();
    byte[] half = Arrays.copyOf(whole, whole.length / 2);
    if (cut) {
      response.setHeader("Connection", "close");
    }
    response.setContentLength(cut ? whole.length : half.length);
    response.getOutputStream().write(half);
  }

  private static void large(HttpServletResponse response, int mebibytes) throws IOException {
    byte[] block = new byte[MEBIBYTE];
    Arrays.fill(block, (byte) 'x');
    response.setContentType("application/json");
    ServletOutputStream out = response.getOutputStream();
    out.write("{\"filling\":\"".getBytes(StandardCharsets.US_ASCII));
    for (int i = 0; i < mebibytes; i++) {
      out.write(block);
    }
    out.write("\"}".getBytes(StandardCharsets.US_ASCII));
  }
}
