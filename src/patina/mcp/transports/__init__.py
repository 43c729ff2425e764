"""The ways to a server. Each is an `Opener` of a `Link`: a pair of message streams and its end."""
