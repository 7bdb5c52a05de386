-- What wrk asks for, four connections at a time, with a pause before each: mostly files, at times the application or the CGI.
local number = 0

function delay()
   return 250
end

function request()
   number = number + 1
   if number % 40 == 0 then return wrk.format("GET", "/cgi-bin/status.cgi") end
   if number % 25 == 0 then return wrk.format("GET", "/app/version") end
   if number % 5 == 0 then return wrk.format("GET", "/app/count") end
   return wrk.format("GET", "/page-" .. (number % 20 + 1) .. ".html")
end
