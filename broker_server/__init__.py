"""The server beside the MQTT broker: cohorts, rounds, aggregation, versions."""
