"""The leaderboard as one HTML file that works offline; its templates lie here."""
