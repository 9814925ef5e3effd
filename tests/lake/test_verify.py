"""Matches are verified again when what is asked of them changes, or what they are compared with arrives."""

from dataclasses import replace

from lake.survey import survey
from lake.verify import asked, due


def test_a_table_is_verified_again_when_its_relations_change_or_their_tables_arrive(small_lake):
    declared = survey("tmass_psc")
    manifest = replace(small_lake.table("gaia_dr3_source").manifest, table="tmass_psc")
    passed = replace(manifest, checks={"asked": asked(declared), "unverified": ["gaia_dr3_source"]})
    assert due(passed, declared, ()) == ""
    assert due(passed, declared, ("gaia_dr3_source",)) == "its matches can now be verified with gaia_dr3_source"
    stricter = replace(declared, relations=tuple(replace(one, tolerance=0.1) for one in declared.relations))
    assert stricter.fingerprint == declared.fingerprint
    assert "by the relations that its declaration asks for now" in due(passed, stricter, ())
    assert due(replace(manifest, checks=None), stricter, ()) == ""
    assert due(passed, replace(declared, relations=()), ()) == ""
