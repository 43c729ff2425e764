"""What was spent, as tables, figures, charts, CSV and PDF."""
