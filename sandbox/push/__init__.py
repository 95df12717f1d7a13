"""What the push service lacks in moto: SendMessages, channels, devices that answer, an inbox."""
