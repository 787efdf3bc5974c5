"""What the commands do, as plain functions: prepare, audit, train, evaluate, leaderboard."""
