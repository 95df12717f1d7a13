// The page of the schedules that wait. table.js has what it shares with other pages.
"use strict";

function show({ count, schedules }) {
  fill(schedules.map(cells), count);
  byId("status").textContent = counted(count, "schedule", schedules.length);
}

function cells(schedule) {
  return [
    schedule.at,
    schedule.job === null ? schedule.recipients : `the rows of the job ${schedule.job}`,
    schedule.title,
    schedule.message,
    schedule.name,
    schedule.group,
  ];
}

follow("scheduled", show);
