-- What wrk counted, as a line of JSON. A thread has one connection, so an answer that does not come is a gap in its thread.
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(arguments)
   pause = tonumber(arguments[1])
   answered, gap, last = 0, 0, os.time()
end

function delay()
   return pause
end

function response()
   local now = os.time()
   gap, last = math.max(gap, now - last), now
   answered = answered + 1
end

function done(summary)
   local least, longest, now = math.huge, 0, os.time()
   for _, thread in ipairs(threads) do
      least = math.min(least, thread:get("answered"))
      longest = math.max(longest, thread:get("gap"), now - thread:get("last"))
   end
   local errors = summary.errors
   print(string.format(
      '{"answered":%d,"least":%d,"longest_gap":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}',
      summary.requests, least, longest, errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
