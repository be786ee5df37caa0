-- For wrk: refreshes the grants user-0 … of the connection `people`, one after the other, over and over.
local grants = tonumber(os.getenv("GRANTS"))
local next = 0

function request()
   next = (next + 1) % grants
   return wrk.format("POST", "/v1/connections/people/grants/user-" .. next .. "/refresh")
end
