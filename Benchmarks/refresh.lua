-- For wrk: refreshes the grants user-0 … of the connection `people`, one after the other, over and over; begins behind user-FIRST.
local grants = tonumber(os.getenv("GRANTS"))
local next = tonumber(os.getenv("FIRST") or "0")

function request()
   next = (next + 1) % grants
   return wrk.format("POST", "/v1/connections/people/grants/user-" .. next .. "/refresh")
end
