package com.connectbot.matching;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

@RestController
class TournamentController {
  record Participant(long id, String name, String department, double rating, @JsonProperty("games_played") int gamesPlayed) {}

  record Tournament(List<Participant> participants, @JsonProperty("game_type") String gameType, String format, int rounds) {}

  record Match(int round, @JsonProperty("player1_id") long player1Id, @JsonProperty("player2_id") Long player2Id) {}

  record Bracket(List<Match> matches) {}

  /** The first round. Who has no opponent stands alone in a match. */
  @PostMapping("/api/matching/tournament/bracket")
  Bracket bracket(@RequestBody Tournament tournament) {
    List<Participant> players = new ArrayList<>(tournament.participants);
    Collections.shuffle(players);
    List<Match> matches = new ArrayList<>();
    for (int i = 0; i < players.size(); i += 2) {
      Long opponent = i + 1 < players.size() ? players.get(i + 1).id : null;
      matches.add(new Match(1, players.get(i).id, opponent));
    }
    return new Bracket(matches);
  }
}
