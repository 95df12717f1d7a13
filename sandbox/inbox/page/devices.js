// The page of the registry's devices. table.js has what it shares with other pages.
"use strict";

function show({ registries, count, devices }) {
  fill(devices.map(cells), count, registries > 0);
  byId("status").textContent = registries === 0
    ? "No registry: no stack in this sandbox has the output DevicesTableName."
    : counted(count, "device", devices.length);
}

function cells(device) {
  const state = [device.invalid && "invalid", device.opted_out && "opted out"].filter(Boolean);
  return [
    device.device_id,
    device.user_id,
    device.service,
    device.language,
    [device.tags ?? []].flat().join(", "),
    device.seen_at,
    state.join(", "),
    device.token,
    device.application_id,
  ];
}

follow("registry", show);
