/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of one dispatch: place, claim, start, finish, loss, redelivery, adoption.
 *
 * Two workers, a scheduler and the one that adopts it, ZooKeeper, and Airflow's gate. A message may
 * be lost on either way, a session may expire at any time, one worker and one scheduler may die;
 * FAULTS bounds how many of these happen, so that after the last one the end must be reached.
 * A transaction of ZooKeeper is one atomic step. Grace periods have no length: whatever may happen
 * after one may happen at once.
 *
 * Checked: the assertions, and that an event is reached in the end (ltl told, weak fairness).
 * MUTANT_... leaves one safeguard out; each of them must be caught, see test_model.py.
 */
#ifndef FAULTS
#define FAULTS 3
#endif

mtype = { none, success, lost, gone, already_running };   /* outcomes */
mtype = { queued, running, ended };                       /* Airflow's states */
mtype = { idle, in_doubt, claimed, forked, working, finishing }; /* of a run on a worker */
mtype = { place, requeue };                               /* what a scheduler sends */

/* ZooKeeper. A claim is the child of the running node; an expired session has none. */
bool entry, entry_lost_by;                 /* queues/... and whether it is a redelivery */
byte node; bool node_marked, node_lost_by; /* running/...: 1 + the worker it names, 0: none */
bool claim[2];
mtype result = none;
byte counter[2];                           /* producers/<scheduler> */
bool session[2] = true;

/* The lease ends before the session can; time passes in Time(). */
bool lease[2] = true, dead[2];

/* A scheduler's transaction on its way. It may still arrive after its sender has died. */
mtype sent[2] = none; byte sent_version[2]; mtype answer[2] = none;

/* Airflow, and what has been seen. A callback has no gate. */
bool is_task;
mtype airflow = queued;
byte passed, starts, events;
bool finished;                             /* a worker's result is in ZooKeeper */
byte faults = FAULTS;
bool scheduler_died;

#define UNCLAIMED (!claim[0] && !claim[1])
#ifdef MUTANT_TAKEOVER_IGNORES_CLAIM
#define REMOVABLE (node != 0)
#else
#define REMOVABLE (node != 0 && UNCLAIMED) /* ZooKeeper removes no node that has children */
#endif
#define REMOVE_NODE node = 0; node_marked = 0; claim[0] = 0; claim[1] = 0

inline tell(what) {
  events++;
  assert(events == 1);
  assert(what != success || starts > 0);
  assert(what != success || !is_task || passed == 1);
  assert(what != gone || !finished);       /* a result is not mistaken for an absence */
  airflow = ended
}

/* ---- ZooKeeper receives what schedulers sent ---- */
active proctype Network() {
  byte s;
end: do
  :: atomic { (sent[0] != none || sent[1] != none) ->
       if :: sent[0] != none -> s = 0 :: sent[1] != none -> s = 1 fi;
       if
#ifdef MUTANT_PLACE_WITHOUT_COUNTER
       :: sent[s] == place && !entry ->
#else
       :: sent_version[s] == counter[s] && sent[s] == place && !entry ->
#endif
         assert(events == 0);              /* nothing appears after its end was told */
         counter[s]++; entry = 1; entry_lost_by = 0; answer[s] = success
#ifdef MUTANT_PUT_BACK_WITHOUT_VERSION
       :: sent_version[s] == counter[s] && sent[s] == requeue && REMOVABLE ->
#else                                      /* the node is as it was when it was read */
       :: sent_version[s] == counter[s] && sent[s] == requeue && REMOVABLE && !node_marked ->
#endif
         assert(events == 0);
         counter[s]++; REMOVE_NODE; entry = 1; entry_lost_by = 1; answer[s] = success;
         assert(counter[s] <= FAULTS + 2)  /* without a fault nothing is placed again */
       :: else -> answer[s] = lost
       fi;
       sent[s] = none; s = 0 }
  od
}

/* ---- Time: leases lapse, then sessions expire ---- */
active proctype Time() {
end: do
  :: d_step { lease[0] && dead[0] -> lease[0] = 0 }
  :: d_step { lease[1] && dead[1] -> lease[1] = 0 }
  :: d_step { lease[0] && !dead[0] && faults > 0 -> faults--; lease[0] = 0 }
  :: d_step { lease[1] && !dead[1] && faults > 0 -> faults--; lease[1] = 0 }
  :: d_step { session[0] && !lease[0] -> session[0] = 0; claim[0] = 0 }
  :: d_step { session[1] && !lease[1] -> session[1] = 0; claim[1] = 0 }
  od
}

/* ---- A worker. Dead: for good; another worker stands for the next incarnation. ---- */
proctype Worker(byte w) {
  mtype state = idle, outcome = none;
  bool held, lost_by, marked, examined;    /* what it believes; lost_by: this is a redelivery */
#define FORGET state = idle; outcome = none; lost_by = 0; held = 0; marked = 0; examined = 0
#define MULTI_ANSWERED lease[w] = 1
#ifdef MUTANT_CLAIMS_AGAIN_WHAT_IS_ANOTHERS
#define OURS (node != 0)
#else
#define OURS (node == w + 1)
#endif
end: do
  /* A request was answered; or the client learns that its session is over, and opens another. */
  :: d_step { session[w] && !lease[w] -> lease[w] = 1 }
  :: d_step { !session[w] -> session[w] = 1; lease[w] = 1; held = 0; examined = 0 }

  /* Claim. */
  :: atomic { state == idle && session[w] && entry && node == 0 ->
       if :: true ->
#ifndef MUTANT_CLAIM_KEEPS_ENTRY
            entry = 0;
#endif
            node = w + 1; claim[w] = 1; node_marked = 0; node_lost_by = entry_lost_by;
            lost_by = node_lost_by;
            if :: state = claimed; held = 1; MULTI_ANSWERED
               :: faults > 0 -> faults--; state = in_doubt fi
          :: faults > 0 -> faults--; lost_by = entry_lost_by; state = in_doubt
       fi }
  :: d_step { state == in_doubt && session[w] ->
       if :: node == w + 1 -> state = claimed :: else -> FORGET fi;
       MULTI_ANSWERED }

  /* Claim again in a new session, or learn that the run was declared lost: kill it. */
  :: atomic { (state == claimed || state == forked || state == working) && !held && session[w] ->
       if :: OURS ->
            claim[w] = 1; marked = node_marked;
            if :: held = 1; MULTI_ANSWERED :: faults > 0 -> faults-- fi
          :: else -> FORGET
       fi }

  /* Mark as started: a task once it has lasted, a callback before it starts. */
  :: atomic { (state == working || (state == claimed && !is_task)) && !marked &&
              held && session[w] && claim[w] ->
       node_marked = 1;
       if :: marked = 1; MULTI_ANSWERED :: faults > 0 -> faults--; held = 0 fi }

  /* Start. */
#ifdef MUTANT_START_WITHOUT_LEASE
#define MAY_START (is_task || marked)
#elif defined(MUTANT_CALLBACK_STARTS_UNMARKED)
#define MAY_START lease[w]
#else
#define MAY_START (lease[w] && (is_task || marked))
#endif
  :: d_step { state == claimed && held && MAY_START ->
       starts++;
       assert(is_task || starts == 1);     /* without a gate ZooKeeper alone must see to it */
       assert(is_task || events == 0);
       state = (is_task -> forked : working) }
  :: d_step { state == forked ->             /* PATCH .../state */
       if :: airflow == queued -> airflow = running; passed++; assert(passed == 1); state = working
          :: else -> state = finishing; outcome = (lost_by -> lost : already_running)
       fi }
  /* The process ends. Airflow has taken its state before the worker hears of it. */
  :: d_step { state == working -> airflow = (is_task -> ended : airflow);
       state = finishing; outcome = success }

  /* Finish. What is not known to be held is looked at first: another's, or gone, means that no
     result is due. Without a claim in this session the node goes if nobody else has one. */
  :: d_step { state == finishing && session[w] && !held && !examined ->
       if :: node != w + 1 -> FORGET :: else -> examined = 1; held = claim[w] fi;
       MULTI_ANSWERED }
  :: atomic { state == finishing && session[w] && (held || examined) ->
       if :: (held && claim[w]) || (!held && node != 0 && UNCLAIMED) ->
            REMOVE_NODE; finished = 1;
#ifdef MUTANT_FINISH_IN_TWO_STEPS
            goto result_follows;
back:
#endif
            assert(result == none && events == 0);
            result = outcome;
            if :: FORGET; MULTI_ANSWERED
               :: faults > 0 -> faults--; held = 0; examined = 0
            fi
          :: else -> held = 0; examined = 0
          :: faults > 0 -> faults--; held = 0; examined = 0     /* it never got there */
       fi }
  :: d_step { !dead[1 - w] && faults > 0 -> faults--; dead[w] = 1; FORGET };
       break
  od;
  goto over;
#ifdef MUTANT_FINISH_IN_TWO_STEPS
result_follows:
  if :: goto back :: d_step { !dead[1 - w] && faults > 0 -> faults--; dead[w] = 1 } fi;
#endif
over: skip
}

/* ---- A scheduler: 0 places; 1 adopts when 0 has died. ---- */
proctype Scheduler(byte s) {
  mtype batch = none;                      /* what is to be sent, or is on its way */
  byte version;                            /* of our counter, as we know it */
  bool waiting, unknown, inspect, there, was_marked;
  if
  :: s == 0 -> batch = place
  :: else ->
#ifndef MUTANT_ADOPT_WITHOUT_FENCE
    counter[0]++;                          /* what it still has on its way fails from here on */
#endif
    inspect = 1
  fi;
  do
  :: events > 0 -> break                   /* Airflow's database knows: nobody adopts it */
  :: d_step { events == 0 && result != none -> tell(result); result = none }

  /* Send; take the answer; or lose the connection, before or after it got there. */
  :: d_step { batch != none && !waiting && !unknown ->
       sent[s] = batch; sent_version[s] = version; answer[s] = none; waiting = 1 }
  :: d_step { waiting && answer[s] != none ->
       version = (answer[s] == success -> version + 1 : version);
       answer[s] = none; batch = none; waiting = 0 }
  :: atomic { waiting && faults > 0 -> faults--; waiting = 0; unknown = 1;
       if :: true :: sent[s] = none fi }
  /* After a sync the counter says whether it was applied. */
  :: d_step { unknown && sent[s] == none -> unknown = 0; answer[s] = none;
#ifndef MUTANT_PLACE_WITHOUT_COUNTER
       if :: counter[s] != version -> version = counter[s]; batch = none
          :: else -> batch = (batch == place -> place : none) fi
#endif
     }

  /* A run without a claim: lost. What may not have started is placed again. */
#ifdef MUTANT_INSPECT_DURING_REQUEUE
  :: atomic { batch == none && events == 0 && REMOVABLE ->
#else
  :: atomic { batch == none && events == 0 && REMOVABLE && !inspect ->
#endif
       was_marked = node_marked };
     if :: !was_marked -> batch = requeue
        :: was_marked ->
          atomic {
            if :: REMOVABLE -> REMOVE_NODE;
                  if :: true :: faults > 0 -> faults--;
#ifndef MUTANT_LOST_REPLY_IS_FORGOTTEN
                       inspect = 1;
#endif
                       goto next
                  fi
               :: !REMOVABLE -> goto next  /* the worker has come back */
               :: faults > 0 -> faults--; inspect = 1; goto next
            fi };
          d_step { events == 0 -> tell(lost) }
     fi;
next: was_marked = 0

  /* Where is it? Queues, running, results, in this order, each a request of its own. Redelivery
     moves against this order, so none of ours may be on its way meanwhile. */
#ifdef MUTANT_INSPECT_DURING_REQUEUE
  :: atomic { inspect && events == 0 -> there = entry };
     if :: batch == none && REMOVABLE && !node_marked -> batch = requeue; sent_version[s] = version;
          sent[s] = requeue; waiting = 1
        :: true fi;
#else
  :: atomic { inspect && events == 0 && batch == none -> there = entry };
#endif
     there = there || node != 0;
     d_step { inspect = 0;
       if :: there || result != none || events > 0 :: else -> tell(gone) fi;
       there = 0 }

  :: d_step { s == 0 && events == 0 && faults > 0 -> faults--; scheduler_died = 1 }; break
  od;
  if :: scheduler_died && s == 0 && events == 0 -> run Scheduler(1) :: else fi
}

init {
  atomic {
    if :: is_task = 1 :: is_task = 0 fi;
    run Worker(0); run Worker(1); run Scheduler(0)
  }
}

ltl told { <> (events == 1) }
