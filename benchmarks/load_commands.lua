-- Load for wrk: changes the phase of one service after the other, each with a key of its own.
-- Arguments: the bearer key, a label for this run, how many services, the seed of their ids, and
-- the number of the first command.
local thread_count = 0
local phases = {"alpha", "beta", "live"}

function setup(thread)
  thread:set("id", thread_count)
  thread_count = thread_count + 1
end

function init(args)
  bearer, label, services, seed = args[1], args[2], tonumber(args[3]), tonumber(args[4])
  headers = {["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. bearer}
  sent = tonumber(args[5]) - 1
end

function request()
  sent = sent + 1
  local service = string.format("svc_%08x%024x", seed, sent % services)
  local phase = phases[math.floor(sent / services) % 3 + 1]
  headers["Idempotency-Key"] = label .. "-" .. id .. "-" .. sent
  local body = '{"phase":"' .. phase .. '","reason":"assessment met"}'
  return wrk.format("POST", "/v1/services/" .. service .. "/change-phase", headers, body)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"duration_s":%f,"p50_ms":%f,"p99_ms":%f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
