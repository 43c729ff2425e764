"""Front ends: views of the event stream."""
