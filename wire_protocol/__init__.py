"""The protocol devices and server share: messages, frames, topics, codecs, MQTT."""
