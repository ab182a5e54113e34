"""Risk models: table schema, audit, compilers and the facts that published tables leave out.

    published tables -> Model (`schema`) -> `audit` -> kernel arrays (`compile`) -> `engine`

`cms_hcc` builds V24 and V28 from an installed package's data files, `hhs_hcc` imports a folder of
tables, `licensed` reads tables whose owner allows it, `calibration` estimates a state's own
weights. `store` keeps imported models by content. A model is data; no module here knows a member.
"""
