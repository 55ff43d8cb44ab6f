"""Sends messages to people, by mail, chat or webhook, through Apprise."""
