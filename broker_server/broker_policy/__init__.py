"""What a broker lets whom do, in the words of mosquitto, EMQX and Home Assistant."""
