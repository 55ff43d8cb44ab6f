"""What commands do: run, resume, verify, roll back, clean, repair, predict, compile."""
