package com.connectbot.matching.faults;

/**
 * What requests to one path meet.
 *
 * @param times     how many requests meet it, from when it was set; 0 for all
 * @param delay     how many milliseconds the answer waits
 * @param answer    what is answered; null: what there is to answer
 * @param status    the status of EMPTY, ERROR, HTML and REDIRECT; 0 for 200
 * @param message   what an ERROR says
 * @param location  where a REDIRECT goes
 * @param mebibytes the size of what is LARGE
 */
record Fault(int times, int delay, Answer answer, int status, String message, String location, int mebibytes) {

  enum Answer {
    /** The framework's error body. */
    ERROR,
    /** No body. */
    EMPTY,
    /** A page such as a proxy makes. */
    HTML,
    /** No body, and the header Location. */
    REDIRECT,
    /** The first half of the real answer under the Content-Length of the whole; then the connection closes. */
    CUT,
    /** The first half of the real answer as if it were the whole. */
    MALFORMED,
    /** A JSON object of many mebibytes. */
    LARGE,
  }

  Fault {
    status = status == 0 ? 200 : status;
  }
}
