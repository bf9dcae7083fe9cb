"""The tests of whet; folders mirror `src/whet`, and a few that span it all."""
