/* How files come and go, on two nodes over one catalogue and one directory: docs/removing.md as
 * a model for spin. README.md says what is in it, what it assumes, and how to break it.
 *
 * An atomic block is what nobody sees the inside of: one statement or one transaction of
 * PostgreSQL, or one system call; it names the code that it stands for. What happens between
 * two of them may happen to anybody. */

#define NOBODY 255

/* --- the catalogue --- */
bool row_layer;           /* layers */
bool row_manifest;        /* manifests, with its manifest_layers */
bool row_reference[2];    /* image_refs: one for each pull */
bool held[2];             /* pull_layers.held_diff_id */
bool ended[2];            /* pulls.finished_at */
byte owner[2];            /* pulls.node_id */
bool condemned_layer;     /* condemned_files */
bool condemned_image;
mtype = { none, live, expired };
mtype sandbox = none;     /* none, or one whose lease runs, or ran out */

/* --- the directory --- */
bool file_layer;
bool file_image;          /* fsmeta, vmdk and description, which are published under locks that
                             are taken together */

/* --- who has which lock: the number of a process --- */
byte lock_layer = NOBODY; /* of a file: advisory, of a session or of a transaction */
byte lock_image = NOBODY;
byte reaps_layer = NOBODY; /* of a condemned row: FOR UPDATE, of a reaper's transaction */
byte reaps_image = NOBODY;
byte lock_rows = NOBODY;  /* of references and manifests, in a removal: FOR UPDATE */
byte node_of[8];          /* where each process runs */

/* --- what goes wrong --- */
bool dead[2];             /* killed */
byte session[2];          /* goes up when PostgreSQL ends the connections of a node, and with
                             them its locks and transactions, while it lives on */
bool taken_over;
byte faults = FAULTS;

#define killed dead[n]
#define cut_off (mine != session[n])
#define holds(i) (held[i] && !ended[i])

inline check()
{
    /* 1: what is catalogued is there */
    assert(!row_layer || file_layer);
    assert(!row_manifest || (row_layer && file_image));
    /* 3: nobody loses what he relies on */
    assert(sandbox != live || row_manifest);
    assert(!holds(0) || row_layer);
    assert(!holds(1) || row_layer);
    /* the schema: nothing points at what is not there */
    assert(!(row_reference[0] || row_reference[1]) || row_manifest)
}

inline unlock(lock, who)
{
    if :: lock == who -> lock = NOBODY :: else fi
}

inline drop_locks_of_node(lock, which)
{
    if :: lock != NOBODY && node_of[lock] == which -> lock = NOBODY :: else fi
}

inline drop_locks(which)
{
    drop_locks_of_node(lock_layer, which);
    drop_locks_of_node(lock_image, which);
    drop_locks_of_node(reaps_layer, which);
    drop_locks_of_node(reaps_image, which);
    drop_locks_of_node(lock_rows, which)
}

/* --- a pull: store/pull/pull_layer.c, pull_compose.c --- */

proctype Pull(byte me; byte i; byte n)
{
    byte mine;
    bool whole;
    bool tried_again;

begin:
    atomic { /* file_lock_acquire() */
        killed || lock_layer == NOBODY;
        if :: killed -> goto over :: else fi;
        lock_layer = me;
        mine = session[n];
        printf("node %d: pull %d locks the layer's file\n", n, i)
    }
    atomic { /* and waits until no reaper has its row */
#ifndef LOCK_WITHOUT_A_LOOK
        killed || cut_off || reaps_layer == NOBODY;
#endif
        if :: killed -> goto over :: !killed && cut_off -> goto interrupted :: else fi
    }
    atomic { /* catalogue_hold_layer(), and a look at the file */
        if :: killed -> goto over :: !killed && cut_off -> goto interrupted :: else fi;
        if
        :: row_layer -> held[i] = true; whole = file_layer
        :: else -> whole = condemned_layer && file_layer /* it may be rescued */
        fi;
        check();
        if :: whole -> whole = false; goto add :: else fi
    }
    atomic { /* blob_draft_publish(), over what is there. (file_lock_check() before it only
              * saves publishing in vain.) */
        if :: killed -> goto over :: else fi;
        file_layer = true;
        printf("node %d: pull %d publishes the layer's file\n", n, i);
        check()
    }
add:
    atomic { /* catalogue_add_layer(), through the lock's session; waits for a reaper that has the row */
        killed || reaps_layer == NOBODY;
        if :: killed -> goto over :: else fi;
#ifndef WRITE_THROUGH_ANOTHER_SESSION
        if :: cut_off -> goto interrupted :: else fi;
#endif
        row_layer = true;
        condemned_layer = false;
        held[i] = true;
        printf("node %d: pull %d catalogues the layer\n", n, i);
        check()
    }
    atomic { /* file_lock_release() */
        if :: killed -> goto over :: else fi;
        unlock(lock_layer, me);
        mine = 0;
        if :: goto cancelled :: skip fi
    }
    atomic { /* file_lock_acquire() */
        killed || lock_image == NOBODY;
        if :: killed -> goto over :: else fi;
        lock_image = me;
        mine = session[n];
        printf("node %d: pull %d locks the image's files\n", n, i)
    }
    atomic {
#ifndef LOCK_WITHOUT_A_LOOK
        killed || cut_off || reaps_image == NOBODY;
#endif
        if :: killed -> goto over :: !killed && cut_off -> goto interrupted :: else fi
    }
    atomic { /* catalogue_condemn_unborn() */
        killed || reaps_image == NOBODY;
        if :: killed -> goto over :: !killed && cut_off -> goto interrupted :: else fi;
        if :: !row_manifest -> condemned_image = true :: else fi
    }
    atomic { /* publish() */
        if :: killed -> goto over :: else fi;
        file_image = true;
        printf("node %d: pull %d publishes the image's files\n", n, i);
        check();
        if /* a cancel that came by now is kept: file_lock_release(), and no commit */
        :: unlock(lock_image, me); mine = 0; goto cancelled
        :: skip
        fi
    }
    atomic { /* catalogue_pull_done(); waits for the rows that a removal or a reaper has locked */
        killed || (lock_rows == NOBODY && reaps_image == NOBODY);
        if :: killed -> goto over :: else fi;
#ifndef WRITE_THROUGH_ANOTHER_SESSION
        if :: cut_off -> goto interrupted :: else fi;
#endif
        if :: owner[i] != n || ended[i] || !row_layer -> goto over_unlocked :: else fi;
        row_manifest = true;
        row_reference[i] = true;
        condemned_image = false;
        held[i] = false;
        ended[i] = true;
        printf("node %d: pull %d commits the image\n", n, i);
        check();
        goto over_unlocked
    }
cancelled:
    atomic { /* catalogue_pull_failed(), catalogue_drop_pull_layers() */
        if :: killed -> goto over :: else fi;
        if :: owner[i] != n || ended[i] -> goto over_unlocked :: else fi;
        if
        :: held[i] && row_layer && !row_manifest && !(held[0] && held[1]) ->
            row_layer = false;
            condemned_layer = true
        :: else
        fi;
        held[i] = false;
        ended[i] = true;
        printf("node %d: pull %d is cancelled\n", n, i);
        check();
        goto over_unlocked
    }
interrupted:
    atomic { /* catalogue_give_back_pulls(): it begins anew, once in this model */
        if :: killed -> goto over :: else fi;
        unlock(lock_layer, me);
        unlock(lock_image, me);
        if
        :: owner[i] == n && !ended[i] && !tried_again ->
            tried_again = true;
            goto begin
        :: owner[i] == n && !ended[i] && tried_again ->
            held[i] = false;
            ended[i] = true
        :: else
        fi
    }
over_unlocked:
    atomic {
        unlock(lock_layer, me);
        unlock(lock_image, me);
over:   mine = 0;
        tried_again = false
    }
}

/* --- a prune, or a delete by force: store/catalogue/removal*.c; one transaction --- */

proctype Removal(byte me; byte n)
{
    byte mine;
    byte rounds = REMOVALS;
    bool force;
    bool layer_is_reached;

    do
    :: rounds == 0 || killed -> break
    :: else ->
        atomic { /* the victims are those that nobody uses, by what the statement sees … */
            rounds--;
            if :: force = false :: force = true fi;
            mine = session[n];
            if :: !force && sandbox == live -> goto next :: else fi
        }
        atomic { /* … and are locked with their manifests, once nobody else has them locked */
            killed || lock_rows == NOBODY;
            if :: killed || cut_off -> goto next :: else fi;
            lock_rows = me
        }
        atomic { /* statements of their own, which see who began to use them before the locks */
            if :: killed || cut_off -> goto next :: else fi;
#ifndef TRUST_THE_FIRST_LOOK
            if
            :: !force && sandbox == live -> lock_rows = NOBODY; goto next
            :: else
            fi;
#endif
            /* here the statement begins that takes out layers: what it sees */
            layer_is_reached = holds(0) || holds(1)
        }
        atomic { /* it has deleted; must_not_be_pointed_at(); commit */
            if :: killed || cut_off -> goto next :: else fi;
#ifndef NO_KEYS
            if /* fails, and is tried again */
            :: row_layer && !layer_is_reached && (holds(0) || holds(1)) ->
                lock_rows = NOBODY;
                goto next
            :: else
            fi;
#endif
            if :: sandbox == expired || (force && sandbox == live) -> sandbox = none :: else fi;
            row_reference[0] = false;
            row_reference[1] = false;
            if :: row_manifest -> row_manifest = false; condemned_image = true :: else fi;
            if :: ended[0] -> held[0] = false :: else fi;
            if :: ended[1] -> held[1] = false :: else fi;
            if
            :: row_layer && !layer_is_reached -> row_layer = false; condemned_layer = true
            :: else
            fi;
            lock_rows = NOBODY;
            printf("node %d: a removal commits\n", n);
            check()
        }
next:   atomic {
            mine = 0;
            force = false;
            layer_is_reached = false
        }
    od
}

/* --- the reaper: store/reaper.c; a batch of both files, one transaction --- */

proctype Reaper(byte me; byte n)
{
    byte mine;
    bool has_layer;
    bool has_image;

end:
    do
    :: atomic { /* condemned_lock_behind(): rows that no other has */
            !killed && ((condemned_layer && reaps_layer == NOBODY) ||
                        (condemned_image && reaps_image == NOBODY));
            if :: condemned_layer && reaps_layer == NOBODY -> reaps_layer = me :: else fi;
            if :: condemned_image && reaps_image == NOBODY -> reaps_image = me :: else fi;
            mine = session[n];
            printf("node %d: the reaper locks rows\n", n)
        }
        atomic { /* find_busy(): of these the files that nobody has locked */
            if :: killed -> break :: else fi;
            has_layer = !cut_off && reaps_layer == me;
            has_image = !cut_off && reaps_image == me;
#ifndef UNLINK_WITHOUT_THE_LOCK
            if :: lock_layer != NOBODY -> has_layer = false :: else fi;
            if :: lock_image != NOBODY -> has_image = false :: else fi;
#endif
            if
            :: !has_layer && !has_image -> goto forget
            :: !has_layer && has_image -> goto unlink_image
            :: else
            fi
        }
        atomic { /* may_unlink(), unlinkat() */
            if :: killed -> break :: else fi;
#ifndef UNLINK_WITHOUT_A_LOOK
            if :: cut_off -> has_layer = false :: else fi;
#endif
            if
            :: has_layer ->
                file_layer = false;
                printf("node %d: the reaper unlinks the layer's file\n", n);
                check()
            :: else
            fi;
            if :: !has_image -> goto forget :: else fi
        }
unlink_image:
        atomic { /* may_unlink(), unlinkat() */
            if :: killed -> break :: else fi;
#ifndef UNLINK_WITHOUT_A_LOOK
            if :: cut_off -> has_image = false :: else fi;
#endif
            if
            :: has_image ->
                file_image = false;
                printf("node %d: the reaper unlinks the image's files\n", n);
                check()
            :: else
            fi
        }
forget: atomic { /* condemned_forget(), commit */
            if :: killed -> break :: else fi;
            if
            :: !cut_off ->
                if :: has_layer -> condemned_layer = false :: else fi;
                if :: has_image -> condemned_image = false :: else fi
            :: else
            fi;
            unlock(reaps_layer, me);
            unlock(reaps_image, me);
            has_layer = false;
            has_image = false;
            mine = 0
        }
    :: killed -> break
    od
}

/* --- the sweep: store/sweep.c, without its grace period --- */

proctype Sweep(byte n)
{
end:
    do
#ifdef SWEEP_AT_FIRST_SIGHT
    :: atomic { !killed && file_layer && !row_layer && !condemned_layer; skip }
        atomic {
            if :: killed -> break :: else fi;
            condemned_layer = true;
            printf("node %d: the sweep condemns the layer's file\n", n)
        }
#endif
    :: atomic { /* condemn_orphan(): what was seen before is looked at again under the lock */
            !killed && file_layer && !row_layer && !condemned_layer && lock_layer == NOBODY;
            condemned_layer = true;
            printf("node %d: the sweep condemns the layer's file\n", n)
        }
    :: atomic {
            !killed && file_image && !row_manifest && !condemned_image && lock_image == NOBODY;
            condemned_image = true;
            printf("node %d: the sweep condemns the image's files\n", n)
        }
    :: killed -> break
    od
}

/* --- a host: store/catalogue/sandboxes.c --- */

proctype Host()
{
    byte starts = STARTS;

    do
    :: starts == 0 -> break
    :: starts > 0 ->
        starts--;
        if /* the image is found … */
        :: row_reference[0] || row_reference[1]
        :: break
        fi;
        atomic { /* … and held, if its manifest is there once nobody has it locked */
            lock_rows == NOBODY;
            if
            :: row_manifest -> sandbox = live; printf("a sandbox registers\n")
            :: else
            fi;
            check()
        }
        atomic {
            if
            :: sandbox == live -> sandbox = none; printf("the sandbox is released\n")
            :: sandbox == live -> sandbox = expired; printf("the sandbox's lease runs out\n")
            :: sandbox != live
            fi;
            check()
        }
    od
}

/* --- what goes wrong --- */

/* Another node claims what that node runs. */
inline take_over(which)
{
    if
    :: !taken_over && !ended[0] && owner[0] == which -> i = 0
    :: !taken_over && !ended[1] && owner[1] == which -> i = 1
    :: else -> i = NOBODY
    fi;
    if
    :: i != NOBODY ->
        taken_over = true;
        owner[i] = 1 - which;
        node_of[2] = 1 - which;
        printf("node %d: takes pull %d over\n", 1 - which, i);
        run Pull(2, i, 1 - which)
    :: else
    fi
}

proctype Faults()
{
    byte n;
    byte i;

end:
    do
    :: atomic {
            faults > 0;
            faults--;
            if :: n = 0 :: n = 1 fi;
            if
            :: !dead[0] && !dead[1] ->
                dead[n] = true;
                printf("node %d: is killed\n", n);
                drop_locks(n);
                take_over(n)
            :: session[n]++;
                printf("node %d: PostgreSQL ends its connections\n", n);
                drop_locks(n)
            :: printf("node %d: is taken for dead\n", n);
                take_over(n)
            fi;
            n = 0;
            i = 0
        }
    od
}

/* 2: when all is quiet, no file is there that nobody knows, and nothing waits for ever. */
proctype Judge()
{
end:
    atomic {
        timeout;
        assert(!file_layer || row_layer);
        assert(!file_image || row_manifest);
        assert(!condemned_layer && !condemned_image);
        assert(lock_layer == NOBODY && lock_image == NOBODY && lock_rows == NOBODY);
        assert(reaps_layer == NOBODY && reaps_image == NOBODY)
    }
}

init
{
    atomic {
        node_of[0] = 0; /* pull 0 */
        node_of[1] = 1; /* pull 1 */
        node_of[2] = 0; /* the one that is taken over */
        node_of[3] = 0; /* the removal */
        node_of[4] = 0; /* reapers */
        node_of[5] = 1;
        owner[0] = 0;
        owner[1] = 1;
        run Pull(0, 0, 0);
#if PULLS > 1
        run Pull(1, 1, 1);
#else
        ended[1] = true;
#endif
        run Removal(3, 0);
        run Reaper(4, 0);
        run Reaper(5, 1);
        run Sweep(0);
        run Sweep(1);
        run Host();
        run Faults();
        run Judge()
    }
}
