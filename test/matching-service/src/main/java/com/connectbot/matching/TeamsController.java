package com.connectbot.matching;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

@RestController
class TeamsController {
  record Participant(long id, String name, String department, List<String> skills, List<String> interests) {}

  record Request(
      List<Participant> participants,
      @JsonProperty("team_size") int teamSize,
      @JsonProperty("balance_skills") boolean balanceSkills,
      @JsonProperty("max_teams") int maxTeams) {}

  record Team(List<Long> members) {}

  record Teams(List<Team> teams) {}

  /** Teams of the given size, the last one of those who are left; with max_teams, those beyond it play in none. */
  @PostMapping("/api/matching/teams/generate")
  Teams generate(@RequestBody Request request) {
    List<Long> people = new ArrayList<>(request.participants.stream().map(Participant::id).toList());
    Collections.shuffle(people);
    int size = Math.max(1, request.teamSize);
    List<Team> teams = new ArrayList<>();
    for (int i = 0; i < people.size() && (request.maxTeams == 0 || teams.size() < request.maxTeams); i += size) {
      teams.add(new Team(people.subList(i, Math.min(i + size, people.size()))));
    }
    return new Teams(teams);
  }
}
