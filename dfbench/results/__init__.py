"""Result cards and their store."""
