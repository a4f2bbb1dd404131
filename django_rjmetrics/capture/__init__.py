"""What notices a change: every way to write a row that can be seen appends its marks here."""
