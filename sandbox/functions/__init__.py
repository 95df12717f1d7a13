"""What Lambda lacks in moto: functions run in processes, in the runtime client of AWS."""
