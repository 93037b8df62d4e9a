package reactor

var pollers = []namedPoller{{"poll", openPoll}, {"select", openSelect}}
